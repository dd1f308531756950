"""The concepts the model meets first, with the words that people use for them.

A concept's key is its emoji's code points without skin tone and presentation marks (`1F431`). The tables here are
checked by hand: `cat` and `猫` beside the label's "cat face", the measure word that counts it in Chinese, and
whether it can be counted at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pinxit.schema.errors import UnknownName


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """One thing to draw: natural names, best first, in the singular unless `plural`."""

    key: str
    en: tuple[str, ...]
    zh: tuple[str, ...]
    measure: str = "个"
    plural: bool = False
    countable: bool = True
    second: bool = False


# One line each: key | English names | Chinese names | measure word | marks: p = a plural noun,
# m = not counted, 2 = of the second hundred.
_FIRST = """
1F431 | cat, kitten, kitty, cat face | 猫, 小猫, 猫咪, 猫脸 | 只
1F436 | dog, puppy, dog face | 狗, 小狗, 狗狗, 狗脸 | 只
1F43C | panda, giant panda | 熊猫, 大熊猫 | 只
1F437 | pig, pig face | 猪, 小猪, 猪头 | 只
1F42E | cow, cow face | 奶牛, 牛, 奶牛头 | 头
1F438 | frog | 青蛙, 蛙 | 只
1F427 | penguin | 企鹅 | 只
1F989 | owl | 猫头鹰 | 只
1F41F | fish | 鱼 | 条
1F420 | tropical fish | 热带鱼 | 条 | 2
1F433 | whale, spouting whale | 鲸鱼, 鲸 | 头 | 2
1F42C | dolphin | 海豚 | 只
1F988 | shark | 鲨鱼 | 条 | 2
1F419 | octopus | 章鱼 | 只
1F980 | crab | 螃蟹, 蟹 | 只 | 2
1F98B | butterfly | 蝴蝶 | 只
1F41E | ladybug, ladybird, lady beetle | 瓢虫 | 只
1F41D | bee, honeybee | 蜜蜂 | 只
1F40C | snail | 蜗牛 | 只 | 2
1F422 | turtle, tortoise | 乌龟, 海龟, 龟 | 只
1F40D | snake | 蛇 | 条 | 2
1F430 | rabbit, bunny, rabbit face | 兔子, 小兔子, 兔子头 | 只
1F98A | fox | 狐狸 | 只
1F981 | lion | 狮子 | 头
1F42F | tiger, tiger face | 老虎, 老虎头 | 只
1F43B | bear | 熊 | 只
1F428 | koala | 考拉, 树袋熊 | 只
1F435 | monkey, monkey face | 猴子, 猴头 | 只
1F42D | mouse, mouse face | 老鼠, 老鼠头 | 只 | 2
1F434 | horse, horse face | 马, 马头 | 匹 | 2
1F984 | unicorn | 独角兽 | 只
1F432 | dragon, dragon face | 龙, 龙头 | 条
1F424 | chick, baby chick | 小鸡 | 只
1F986 | duck | 鸭子 | 只
1F418 | elephant | 大象 | 头
1F992 | giraffe | 长颈鹿 | 只 | 2
1F996 | dinosaur, t-rex | 恐龙, 霸王龙 | 只 | 2
1F34E | apple, red apple | 苹果, 红苹果 | 个
1F34F | green apple | 青苹果, 绿苹果 | 个 | 2
1F34C | banana | 香蕉 | 根
1F352 | cherries, cherry | 樱桃 | 颗 | p
1F353 | strawberry | 草莓 | 颗
1F349 | watermelon, slice of watermelon | 西瓜 | 块
1F34B | lemon | 柠檬 | 个
1F34A | orange, tangerine | 橙子, 橘子 | 个 | 2
1F34D | pineapple | 菠萝 | 个
1F347 | grapes, bunch of grapes | 葡萄 | 串 | p
1F350 | pear | 梨, 梨子 | 个 | 2
1F351 | peach | 桃子, 桃 | 个
1F345 | tomato | 西红柿, 番茄 | 个 | 2
1F33D | corn, ear of corn | 玉米 | 根 | m
1F955 | carrot | 胡萝卜 | 根
1F344 | mushroom | 蘑菇 | 个
1F346 | eggplant, aubergine | 茄子 | 个 | 2
1F951 | avocado | 牛油果, 鳄梨 | 个 | 2
1F355 | pizza, slice of pizza | 披萨, 比萨 | 块
1F354 | hamburger, burger | 汉堡, 汉堡包 | 个
1F35F | french fries, fries | 薯条 | 份 | p2
1F369 | donut, doughnut | 甜甜圈 | 个
1F366 | ice cream, ice cream cone, soft ice cream | 冰淇淋, 甜筒, 圆筒冰激凌 | 个
1F370 | cake, slice of cake, shortcake | 蛋糕, 水果蛋糕 | 块
1F382 | birthday cake | 生日蛋糕 | 个 | 2
1F9C1 | cupcake, muffin | 纸杯蛋糕 | 个
1F36A | cookie, biscuit | 饼干, 曲奇 | 块 | 2
1F36D | lollipop | 棒棒糖 | 根
1F36C | candy | 糖果, 糖 | 颗 | 2
1F35E | bread, loaf of bread | 面包 | 个 | m
1F950 | croissant | 羊角面包, 可颂 | 个 | 2
1F9C0 | cheese, cheese wedge | 奶酪, 芝士 | 块 | m
1F95A | egg | 鸡蛋, 蛋 | 个 | 2
2615 | cup of coffee, coffee, coffee cup | 咖啡, 一杯咖啡, 咖啡杯 | 杯
1F37A | beer, mug of beer, beer mug | 啤酒, 啤酒杯 | 杯
1F335 | cactus | 仙人掌 | 棵
1F33B | sunflower | 向日葵 | 朵
1F339 | rose, red rose | 玫瑰, 玫瑰花 | 朵
1F337 | tulip | 郁金香 | 朵
1F338 | cherry blossom, pink flower | 樱花 | 朵 | 2
1F33C | flower, yellow flower, blossom | 花, 小花 | 朵 | 2
1F340 | four leaf clover, clover | 四叶草 | 片
1F341 | maple leaf | 枫叶 | 片 | 2
1F333 | tree, deciduous tree, green tree | 树, 大树, 落叶树 | 棵
1F332 | pine tree, evergreen tree | 松树 | 棵
1F334 | palm tree | 棕榈树 | 棵
1F384 | christmas tree | 圣诞树 | 棵
2600 | sun | 太阳 | 个
1F31E | sun with face, smiling sun | 微笑的太阳 | 个 | 2
1F319 | crescent moon, moon | 月亮, 弯月 | 个
2B50 | star, yellow star | 星星, 黄色的星星 | 颗
2601 | cloud, white cloud | 云, 云朵, 白云 | 朵
1F308 | rainbow | 彩虹 | 道
2744 | snowflake | 雪花 | 片
26C4 | snowman | 雪人 | 个 | 2
1F525 | fire, flame | 火, 火焰 | 团 | m
1F4A7 | water drop, drop of water, droplet | 水滴 | 滴
26A1 | lightning bolt, lightning | 闪电 | 道 | 2
1F30D | earth, globe, planet earth | 地球, 地球仪 | 个
1FA90 | saturn, ringed planet, planet with rings | 土星, 有环行星 | 个 | 2
26F0 | mountain | 山, 高山 | 座
1F30B | volcano | 火山 | 座 | 2
2764 | red heart, heart | 红心, 红色的心, 爱心 | 颗
1F499 | blue heart | 蓝心, 蓝色的心 | 颗
1F49A | green heart | 绿心, 绿色的心 | 颗 | 2
1F49B | yellow heart | 黄心, 黄色的心 | 颗 | 2
1F49C | purple heart | 紫心, 紫色的心 | 颗 | 2
1F5A4 | black heart | 黑心, 黑色的心 | 颗 | 2
1F388 | balloon, red balloon | 气球, 红气球 | 个
1F381 | gift, present, wrapped gift | 礼物, 礼盒 | 个
1F3E0 | house, home | 房子, 小屋 | 座
1F3F0 | castle | 城堡 | 座
26FA | tent | 帐篷 | 顶 | 2
1F697 | car, red car, automobile | 汽车, 小汽车, 轿车 | 辆
1F695 | taxi, yellow taxi | 出租车 | 辆 | 2
1F68C | bus | 公交车, 巴士 | 辆
1F692 | fire truck, fire engine | 消防车 | 辆 | 2
1F69C | tractor | 拖拉机 | 辆 | 2
1F682 | steam train, locomotive | 蒸汽火车, 火车头 | 列
1F680 | rocket, space rocket | 火箭 | 枚
1F6F8 | flying saucer, ufo | 飞碟, 不明飞行物 | 个 | 2
2708 | airplane, plane | 飞机 | 架
1F681 | helicopter | 直升机 | 架 | 2
26F5 | sailboat | 帆船 | 艘
2693 | anchor | 锚, 船锚 | 个 | 2
1F6B2 | bicycle, bike | 自行车 | 辆
1F3B8 | guitar | 吉他 | 把
1F3BA | trumpet | 小号 | 把
1F3BB | violin | 小提琴 | 把 | 2
1F941 | drum | 鼓 | 面
1F511 | key | 钥匙 | 把
1F512 | lock, padlock, locked | 锁, 合上的锁 | 把
1F514 | bell, golden bell | 铃铛, 铃 | 个
1F4D5 | book, red book, closed book | 书, 红色的书 | 本
1F4D8 | blue book | 蓝色的书 | 本 | 2
1F4DA | books, stack of books | 一摞书, 书本 | 本 | p2
270F | pencil | 铅笔 | 支
2702 | scissors, pair of scissors | 剪刀 | 把 | p
2602 | umbrella | 雨伞, 伞 | 把
1F451 | crown, golden crown | 皇冠, 王冠 | 顶
1F3A9 | top hat, black hat | 礼帽, 高礼帽 | 顶
1F453 | glasses, eyeglasses | 眼镜 | 副 | p
1F576 | sunglasses | 墨镜, 太阳镜 | 副 | p2
1F45F | running shoe, sneaker | 跑鞋, 运动鞋 | 只
1F460 | high heel, high-heeled shoe | 高跟鞋 | 只 | 2
1F455 | t-shirt, shirt | T恤, T恤衫 | 件
1F457 | dress | 连衣裙, 裙子 | 条
1F392 | backpack, school bag | 书包, 背包 | 个 | 2
23F0 | alarm clock, clock | 闹钟, 时钟 | 个
231B | hourglass | 沙漏 | 个 | 2
1F4A1 | light bulb, bulb | 灯泡 | 个
1F4F7 | camera | 相机, 照相机 | 台
1F4F1 | mobile phone, phone, smartphone | 手机 | 部 | 2
1F4BB | laptop, computer | 笔记本电脑, 电脑 | 台
1F4FA | television, tv | 电视机, 电视 | 台 | 2
2709 | envelope, letter, mail | 信封, 信 | 个
26BD | soccer ball, football | 足球 | 个
1F3C0 | basketball | 篮球 | 个
1F3BE | tennis ball | 网球 | 个
1F3C6 | trophy, gold cup | 奖杯 | 座
1F3B2 | dice, die, game die | 骰子 | 个
1F3AF | dartboard, target, bullseye | 靶子, 飞镖靶 | 个 | 2
1F3A8 | paint palette, artist palette | 调色盘, 调色板 | 个 | 2
1F9F8 | teddy bear | 泰迪熊, 玩具熊 | 只 | 2
1F916 | robot, robot face | 机器人 | 个
1F47B | ghost | 鬼, 幽灵 | 个
1F47D | alien | 外星人 | 个
1F383 | jack-o-lantern, pumpkin, halloween pumpkin | 南瓜灯, 南瓜 | 个
1F480 | skull | 骷髅头, 骷髅 | 个
1F600 | grinning face, smiley, happy face | 笑脸, 嘿嘿 | 个 | 2
1F642 | smiling face, slightly smiling face | 微笑的脸, 微笑 | 个
1F60D | heart-eyes face, face with heart eyes, smiling face with heart-eyes | 花痴脸, 爱心眼笑脸 | 个
1F60E | sunglasses face, cool face, smiling face with sunglasses | 戴墨镜的笑脸, 墨镜笑脸 | 个
1F62D | crying face, loudly crying face | 大哭的脸, 哭脸 | 个
1F620 | angry face | 生气的脸, 生气 | 个 | 2
1F528 | hammer | 锤子 | 把
1F48E | diamond, gem, gem stone | 宝石, 钻石 | 颗
1F50D | magnifying glass | 放大镜 | 个
1F9F2 | magnet | 磁铁 | 块 | 2
2699 | gear, cog | 齿轮 | 个 | 2
1F4A3 | bomb | 炸弹 | 个 | 2
1F6E1 | shield | 盾牌 | 面 | 2
1F56F | candle | 蜡烛 | 根 | 2
"""

# Names for concepts outside the first list whose labels nobody would type.
_MORE = """
1F408 | cat, whole cat | 猫, 猫咪 | 只
1F415 | dog, standing dog | 狗 | 只
1F40E | horse, running horse | 马, 奔马 | 匹
1F404 | cow, standing cow | 奶牛 | 头
1F416 | pig, standing pig | 猪 | 头
1F405 | tiger, walking tiger | 老虎 | 只
1F407 | rabbit, whole rabbit | 兔子 | 只
1F401 | mouse, white mouse | 老鼠, 小白鼠 | 只
1F409 | dragon, chinese dragon | 龙 | 条
1F40B | whale, blue whale | 鲸鱼, 蓝鲸 | 头
1F30E | earth, globe showing the americas | 地球, 地球上的美洲 | 个
1F30F | earth, globe showing asia | 地球, 地球上的亚洲 | 个
1F54A | dove, white dove | 鸽子, 白鸽 | 只
1F995 | long-necked dinosaur, sauropod, brontosaurus | 长颈恐龙, 蜥脚类恐龙 | 只
1F423 | hatching chick | 破壳小鸡 | 只
1F425 | chick, baby chick with wings open | 小鸡 | 只
1F41B | caterpillar, bug | 毛毛虫 | 条
1F4D6 | open book | 打开的书 | 本
1F4D7 | green book | 绿色的书 | 本
1F4D9 | orange book | 橙色的书 | 本
1F37F | popcorn | 爆米花 | 桶 | m
1F95B | glass of milk, milk | 牛奶, 一杯牛奶 | 杯
1F377 | glass of red wine, wine glass, wine | 红酒, 葡萄酒 | 杯
1F378 | cocktail, martini | 鸡尾酒 | 杯
1F375 | cup of green tea, tea | 茶, 热茶 | 杯
1F35C | bowl of noodles, ramen | 面条, 拉面 | 碗
1F35A | bowl of rice, rice | 米饭 | 碗
1F35D | spaghetti, pasta | 意大利面, 意粉 | 盘 | m
1F373 | fried egg in a pan, frying pan | 煎蛋 | 个
1F357 | chicken leg, drumstick | 鸡腿 | 只
1F356 | meat on the bone | 带骨肉, 排骨 | 块
1F36B | chocolate bar, chocolate | 巧克力 | 块
1F36F | honey pot, jar of honey | 蜂蜜, 蜂蜜罐 | 罐
1F368 | bowl of ice cream, ice cream | 冰淇淋 | 碗
1F33F | herb, green leaves | 药草 | 株
1F331 | seedling, sprout | 幼苗, 嫩芽 | 株
2618 | shamrock, clover | 三叶草 | 片
1F683 | railway car | 火车车厢 | 节
1F686 | train | 火车 | 列
1F684 | high-speed train | 高速列车 | 列
1F6A2 | ship | 轮船, 船 | 艘
1F3CE | racing car, race car | 赛车 | 辆
1F3CD | motorcycle, motorbike | 摩托车 | 辆
1F69A | truck, delivery truck | 卡车, 货车 | 辆
1F693 | police car | 警车 | 辆
1F691 | ambulance | 救护车 | 辆
1F6A6 | traffic light | 红绿灯 | 个
1F6CF | bed | 床 | 张
1FA91 | chair | 椅子 | 把
1F6CB | sofa, couch, couch and lamp | 沙发 | 张
1F6AA | door | 门 | 扇
1FA9F | window | 窗户 | 扇
1F570 | mantelpiece clock, clock | 座钟 | 个
231A | watch, wristwatch | 手表 | 块
1F5DD | old key | 老式钥匙 | 把
1F513 | open lock, unlocked padlock | 打开的锁 | 把
1F50E | magnifying glass tilted right, magnifying glass | 放大镜 | 个
1F526 | flashlight, torch | 手电筒 | 个
2614 | umbrella in the rain | 雨伞 | 把
26F1 | beach umbrella | 阳伞 | 把
1F302 | closed umbrella | 收起的伞 | 把
1F452 | straw hat, woman's hat | 女帽, 草帽 | 顶
1F393 | graduation cap | 毕业帽, 学士帽 | 顶
1F9E2 | baseball cap, cap | 鸭舌帽, 帽子 | 顶
1F45E | shoe, brown shoe, man's shoe | 皮鞋, 男鞋 | 只
1F462 | boot, woman's boot | 靴子, 女靴 | 只
1F48D | ring, diamond ring | 戒指, 钻戒 | 枚
1F3B9 | piano, piano keys, musical keyboard | 钢琴, 琴键 | 架
1F3B7 | saxophone | 萨克斯管, 萨克斯 | 把
1F3A4 | microphone | 麦克风, 话筒 | 支
1F3A7 | headphones | 耳机 | 副 | p
1F4F0 | newspaper | 报纸 | 张
1F4E6 | package, box, cardboard box | 包裹, 箱子 | 个
1F4B0 | money bag, bag of money | 钱袋 | 袋
1F4B5 | money, dollar bill, dollar banknote | 钱, 美元 | 张 | m
1F58A | pen, ballpoint pen | 笔, 圆珠笔 | 支
1F58C | paintbrush, brush | 画笔 | 支
1F58D | crayon | 蜡笔 | 支
1F4CE | paperclip | 回形针 | 个
1F4CC | pushpin | 图钉 | 个
1F5D1 | trash can, wastebasket | 垃圾桶 | 个
1F5A5 | desktop computer, computer screen | 台式电脑 | 台
2694 | crossed swords | 交叉的剑 | 把 | p
1F5E1 | dagger, sword | 匕首, 剑 | 把
1F3C8 | american football | 橄榄球, 美式橄榄球 | 个
26BE | baseball | 棒球 | 个
1F3D0 | volleyball | 排球 | 个
1F3B1 | billiard ball, eight ball, pool 8 ball | 台球 | 个
1F3AE | game controller, video game | 游戏手柄 | 个
1F3C5 | gold medal, sports medal | 金牌, 奖牌 | 枚
1F380 | bow, pink ribbon, ribbon | 蝴蝶结 | 个
1F389 | party popper | 彩带筒, 拉炮彩带 | 个
1F31F | glowing star, shining star | 闪亮的星星 | 颗
1F315 | full moon | 满月 | 轮
1F327 | rain cloud, cloud with rain | 雨云, 下雨 | 朵
1F329 | thundercloud, cloud with lightning | 雷云, 打雷 | 朵
1F30A | wave, ocean wave, water wave | 海浪, 浪花 | 朵
1F3D4 | snowy mountain, snow-capped mountain | 雪山 | 座
1F3D6 | beach with umbrella, beach | 沙滩伞, 海滩 | 个
1F3DD | desert island, tropical island | 荒岛, 热带岛屿 | 座
1F3E1 | house with garden, house | 带花园的房子, 别墅 | 座
1F6D6 | hut | 小屋, 茅屋 | 座
26EA | church | 教堂 | 座
1F3E5 | hospital | 医院 | 座
1F3EB | school | 学校 | 所
1F47E | alien monster, space invader | 外星怪物 | 个
1F47F | angry devil, angry face with horns | 生气的恶魔 | 个
1F608 | smiling devil, smiling face with horns | 恶魔笑脸 | 个
1F921 | clown, clown face | 小丑, 小丑脸 | 个
1F4A9 | poop, pile of poo | 便便, 大便 | 坨
1F385 | santa claus, santa | 圣诞老人 | 个
1F9D9 | wizard, mage | 巫师, 法师 | 个
1F9DA | fairy | 仙女, 精灵 | 个
1F9DC | mermaid, merperson | 美人鱼 | 个
1F9DB | vampire | 吸血鬼 | 个
1F9DF | zombie | 僵尸 | 个
1F478 | princess | 公主 | 个
1F934 | prince | 王子 | 个
1F476 | baby | 婴儿, 宝宝 | 个
1F466 | boy | 男孩 | 个
1F467 | girl | 女孩 | 个
1F468 | man | 男人 | 个
1F469 | woman | 女人 | 个
1F602 | laughing face, face with tears of joy | 笑哭, 笑哭的脸 | 个
1F622 | crying face, sad face | 哭, 流泪的脸 | 个
1F621 | red angry face, enraged face | 怒火中烧, 愤怒的脸 | 个
1F618 | kissing face, face blowing a kiss | 飞吻, 飞吻的脸 | 个
1F609 | winking face | 眨眼的脸, 眨眼 | 个
1F631 | screaming face, face screaming in fear | 吓死了, 尖叫的脸 | 个
1F634 | sleeping face | 睡着的脸, 睡着了 | 个
1F44D | thumbs up | 点赞, 竖大拇指 | 个 | m
1F44F | clapping hands | 鼓掌 | 双 | p
1F44B | waving hand | 挥手 | 只
1F440 | eyes, pair of eyes | 眼睛, 双眼 | 双 | p
1F443 | nose | 鼻子 | 个
1F442 | ear | 耳朵 | 只
1F441 | eye | 眼睛 | 只
1F48B | kiss mark, lips | 唇印 | 个
1F9E0 | brain | 大脑 | 个
"""


def _parse(table: str) -> tuple[Concept, ...]:
    concepts: list[Concept] = []
    for line in table.strip().splitlines():
        key, en, zh, measure, *rest = (part.strip() for part in line.split("|"))
        marks = rest[0] if rest else ""
        concepts.append(
            Concept(
                key=key,
                en=tuple(name.strip() for name in en.split(",")),
                zh=tuple(name.strip() for name in zh.split(",")),
                measure=measure,
                plural="p" in marks,
                countable="m" not in marks,
                second="2" in marks,
            )
        )
    return tuple(concepts)


def first_concepts() -> tuple[Concept, ...]:
    """The curriculum's first concepts, drawn in every one of the first sets and recognisable when soft."""
    return _parse(_FIRST)


def named_concepts() -> dict[str, Concept]:
    """Every concept with hand-checked names, by key."""
    return {concept.key: concept for concept in (*_parse(_FIRST), *_parse(_MORE))}


def keys_named(names: Sequence[str]) -> tuple[str, ...]:
    """Keys of the concepts with these English names. Raises UnknownName."""
    known = {name: concept.key for concept in reversed(named_concepts().values()) for name in reversed(concept.en)}
    for name in names:
        if name not in known:
            raise UnknownName("concept", name, known)
    return tuple(known[name] for name in names)


def first_keys(count: int = 120) -> tuple[str, ...]:
    """Keys of the first `count` concepts of the curriculum; the most iconic 120 stand before the rest."""
    concepts = sorted(first_concepts(), key=lambda concept: concept.second)
    return tuple(concept.key for concept in concepts[:count])
