"""What the benchmark's captions say: our own sentences, used nowhere else and never for training."""

ENGLISH = """\
I told you the bridge would be closed.
Where did you put the spare key?
It's been raining since Tuesday.
No, wait. Let me say it again.
She left at 7:45 and never looked back.
We've got two hours, maybe three.
Don't touch that, it's still hot!
My grandmother baked bread every Friday.
They're asking for $40, but I'd pay 25.
What's the name of that little café?
He can't be far, the engine is warm.
You promised me a quiet evening.
Nobody has lived here for thirty years.
Turn left at the old post office.
That's exactly what I was afraid of.
How many of these have you sold?
I'd rather walk, if you don't mind.
The doctor says it's only a sprain.
Look at the size of that pumpkin!
We won't need the boat until spring.
Hold the ladder, I'm coming down.
Somebody's been reading my letters.
If it snows tonight, school is off.
There's a train at 6:10, platform 4.
I haven't seen my brother in 12 years.
Why would anyone paint a door orange?
Just sign here, here and here.
The soup needs salt, and a lot of it.
You're not the first one to ask me that.
All right, everybody back to work.
Her violin was found in a taxi.
We can't afford another mistake.
Is this seat taken, or can I sit down?
I've read it twice and I don't get it.
He opened the window and let the bird out.
Please, call me when you land.
That dog has eaten three of my shoes.
Nine out of ten people never notice.
It wasn't me, I was at the market.
Keep your voice down, they're asleep.
When the tide goes out, you can cross.
What do we do with all these boxes?
You should've seen her face.
The museum closes in ten minutes.
I'll take the blue one, thanks.
Did you really swim across the lake?
My father built this table himself.
We ran out of flour on Monday.
It's not about the money, Karen.
First the good news, then the bad.
There must be another way out.
Who's going to water the plants?
He said "maybe", and that means no.
The lighthouse has been dark since May.
You've got mud on your left sleeve.
Let's meet at the fountain at noon.
I'm too old to start over again.
Every winter the pipes freeze.
Would you like some more tea?
Careful, the second step is loose.
They've changed the lock again.
She speaks five languages, you know.
This map is older than both of us.
I couldn't sleep, so I fixed the radio.
Put the kettle on, we have guests.
The answer is 42, isn't it?
Nothing grows on this side of the hill.
You owe me one, don't forget.
We'll be there by half past eight.
Has anybody seen my glasses?
It takes 20 minutes on a good day.
He never learned to ride a bicycle.
I smell smoke. Do you smell smoke?
The judges gave her 9.5 points.
Stop the car, I want to take a picture.
That was the last bus, wasn't it?
You can keep the change.
Our neighbours are moving to Lisbon.
Don't worry, it doesn't bite.
I found this in your coat pocket.
After lunch we went up to the roof.
Can you hear the bells from here?
The whole village came to help.
Well, that didn't go as planned.
Two tickets for the evening show, please.
He's hiding something, I'm sure of it.
What a strange colour for a river.
Give it a minute, it'll start.
I used to know this song by heart.
They found the ring in a fish!
Nobody told me it was a costume party.
We should leave before it gets dark.
The second half was much better.
I'd like to report a missing goat.
You're standing on my foot.
It only works if you hit it here.
Mum, the cat's on the roof again.
Seven days, six nights, no rain.
Write it down before you forget.
The ice is thinner near the shore.
Who taught you to whistle like that?
I don't drink coffee after four.
There were 300 people in that hall.
Take the stairs, the lift is broken.
She'd never been outside the city.
How long have you been standing there?
Let me guess: you missed the ferry.
It's a long story, and not a happy one.
We have bread, cheese and half a melon.
Don't look now, but he's behind you.
My hands are cold. Where are my gloves?
The bees came back in April.
That's what friends are for.
I'd know that laugh anywhere.
He paid in coins, all 60 of them.
Good. Now do it without the rope.
The storm took half of the orchard.
Are you coming, or shall I go alone?
It's on the shelf next to the clock.
We grew up on the same street.
You haven't changed a bit.
Once a year they open the gates.
I'm sorry, this line is for staff only.
Everything we own is in that van.
Can't you see that I'm busy?
The recipe says a pinch, not a spoon.
He was born on the 29th of February.
Say that again, but slowly.
The moon's so bright you could read.
I'll be back before you know it.
They don't make them like this any more.
Somewhere a phone was ringing.
If you're right, we're in trouble.
Her first word was "tractor".
We took the wrong road at Oakfield.
Leave the light on, would you?
It's cheaper by the dozen.
Is it me, or is the floor moving?
I kept all of your postcards.
You can't park that thing here!
The bakery opens at 5 a.m.
Who needs a map when you have a nose?
Look, I didn't come here to argue.
His tie was green, hers was greener.
That bell hasn't rung since 1987.
Tell them I said hello.
The rest, as they say, is history.
We've never lost a suitcase. Not one.
Eat something, you look pale.
And that's how I met your uncle.
""".splitlines()

CHINESE = """\
桥已经封了，我们绕路吧
备用钥匙放在哪里了？
从星期二开始一直在下雨
等一下，让我再说一遍
她七点四十五分就走了
我们最多还有三个小时
别碰，那个还很烫！
外婆每个星期五都烤面包
他们要四十块，我只给二十五
街角那家小店叫什么名字？
发动机还是热的，他走不远
你答应过今晚不吵架的
这里三十年没有人住了
在老邮局那里向左转
我最担心的就是这个
这种帽子你卖出去几顶？
如果不介意，我想走路去
医生说只是扭伤了脚
快看那个南瓜有多大！
春天之前用不上这条船
扶好梯子，我要下来了
有人偷看过我的信
今晚要是下雪，明天就不上课
六点十分有一班火车
我和弟弟十二年没见面了
谁会把门漆成橙色呢？
请在这三个地方签字
汤里少了盐，少了很多
你不是第一个这样问的人
好了，大家回去干活吧
她的小提琴是在出租车上找到的
我们不能再出错了
请问这个座位有人吗？
我看了两遍还是不明白
他打开窗户，把鸟放了出去
下了飞机给我打电话
那只狗咬坏了我三双鞋
十个人里有九个不会注意
不是我，我当时在菜市场
小声一点，他们都睡了
退潮以后就可以走过去
这么多箱子该怎么办？
你真应该看看她的表情
博物馆还有十分钟关门
我要蓝色的那一件，谢谢
你真的游过了整个湖？
这张桌子是父亲亲手做的
星期一面粉就用完了
这跟钱没有关系
先说好消息，再说坏消息
一定还有别的出口
谁来给这些花浇水？
他说也许，意思就是不行
灯塔从五月起就没亮过
你左边的袖子上有泥
中午在喷泉旁边见面
我年纪大了，不想从头再来
一到冬天水管就结冰
要不要再来一杯茶？
小心，第二级台阶松了
他们又把锁换掉了
你知道吗，她会说五种语言
这张地图比我们俩还老
睡不着，我就把收音机修好了
快烧水，家里来客人了
山的这一边什么都不长
你欠我一次，别忘了
八点半之前我们一定到
有谁看见我的眼镜了吗？
天气好的时候只要二十分钟
他从来没有学会骑自行车
你闻到烟味了吗？
评委给了她九点五分
停车，我想拍一张照片
那就是最后一班公交车吧
零钱不用找了
邻居要搬到南方去住
别怕，它不咬人
这是在你大衣口袋里找到的
吃过午饭我们上了屋顶
从这里能听见钟声吗？
全村的人都来帮忙了
唉，跟计划的完全不一样
两张晚场的票，谢谢
他肯定有事瞒着我们
这条河的颜色真奇怪
再等一分钟，马上就能发动
这首歌我以前会背
他们在鱼肚子里找到了戒指！
没人告诉我今天是化装舞会
趁天还没黑我们快走吧
下半场比上半场好看多了
我来报案，我的山羊丢了
你踩到我的脚了
要敲这里它才会动
妈，猫又爬到屋顶上去了
七天六夜，一滴雨也没下
趁没忘记，赶快写下来
靠近岸边的冰比较薄
是谁教你这样吹口哨的？
下午四点以后我不喝咖啡
大厅里坐了三百个人
走楼梯吧，电梯坏了
她从来没有离开过这座城市
你在那里站了多久？
让我猜猜，你没赶上渡轮
说来话长，而且并不开心
只剩下面包、奶酪和半个西瓜
先别回头，他就在你后面
手好冷，我的手套呢？
四月份蜜蜂又飞回来了
朋友不就是这样的吗
那个笑声我到哪里都认得
他付的全是硬币，一共六十个
很好，现在不用绳子再来一次
暴风雨毁了半个果园
你来不来？不来我一个人去
就在架子上，钟的旁边
我们是在同一条街上长大的
你一点儿都没有变
""".splitlines()

# Two captions that follow each other without a gap and differ by a single character.
ONE_CHARACTER_CHANGES = [
    ("今天是星期三", "今天是星期五"),
    ("我要买那本书", "我要卖那本书"),
    ("你在哪里等我", "你在那里等我"),
    ("还有七天时间", "还有九天时间"),
    ("他是我的哥哥", "她是我的哥哥"),
    ("门是开着的吗", "门是关着的吗"),
    ("一共八十五块", "一共八十六块"),
    ("他买了四个苹果", "他买了五个苹果"),
]

TICKER = (
    "Ferries delayed by fog on the northern route   •   Town council votes on new swimming pool   •   "
    "Tulip prices up 4.2 per cent   •   Chess final moved to Sunday 18:00   •   "
)
LOGOS = ["KANAL 9", "NOVA+", "R.T.V.", "Harbour TV"]
SIGNS = ["BAKERY", "EXIT 14", "HOTEL MIRA", "No parking", "Books & Maps"]
